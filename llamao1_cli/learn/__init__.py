"""From trees to gradient steps: experiences, replay, losses, updates."""

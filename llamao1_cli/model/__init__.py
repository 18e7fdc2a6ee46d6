"""Language models: load, adapt, save, and read whole trees in one forward."""

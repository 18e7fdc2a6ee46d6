"""The task of reasoning-gym's data sets, which are made and scored in other processes."""

"""The only training loop: objectives and their phases, columns, checkpoints, moving average, augmentation, devices."""

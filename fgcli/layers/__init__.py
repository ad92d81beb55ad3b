"""Trainable blocks that several networks share."""

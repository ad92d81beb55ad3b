"""fg: face photos to a generator that can be inverted, sampled, edited and measured."""

__version__ = "0.1.0"

"""The version, on the lowest floor of the house: bundles and weight records name it."""

__version__ = "0.1.0"

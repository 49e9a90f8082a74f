"""The commands other than `up`, one module each, and the parts that they share."""

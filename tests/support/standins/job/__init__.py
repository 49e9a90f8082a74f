"""A stand-in for job."""

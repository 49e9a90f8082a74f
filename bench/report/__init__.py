"""Figures, tables and pictures of a measurement."""

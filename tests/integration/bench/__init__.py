"""The bench on real servers, very small."""

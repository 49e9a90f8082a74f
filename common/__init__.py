"""What the services share: ids, errors, settings, lifecycle, and the rooms' logs in Redis."""

"""Logic: the bridge from HTTP to Kafka. Starts in app.py; a message walks api, service, producer, lane, kafka."""

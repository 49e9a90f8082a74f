"""Logic: the bridge from HTTP to Kafka. A message passes api, service, producer, partition_queue and kafka."""

"""Job: the asynchronous path's last service, from Kafka to the Comet nodes."""

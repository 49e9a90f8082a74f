"""What tests start and wait for: ports, servers, a whole stack."""

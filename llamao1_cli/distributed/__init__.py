"""What several processes of one run share: ranks, sharded weights, optimizer steps."""

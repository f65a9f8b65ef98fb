"""Carries out a job shard by shard: engine (which shards, resume), ledger, and the runners."""

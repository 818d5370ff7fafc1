"""Consuming a stream is landing it: batch after batch of each shard, each once, whoever reads."""

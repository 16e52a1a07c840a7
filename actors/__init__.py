"""Ray: readers, extractors, the committer and the ingest run."""

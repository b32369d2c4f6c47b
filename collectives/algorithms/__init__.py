"""One file a family of algorithms; each public function is one schedule, ``(rank, size) -> rounds``."""

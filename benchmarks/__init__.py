"""Benchmarks beside the peers: every group runs ours and theirs interleaved in one process and prints ratios of medians."""

"""Crawling: the place of new instruction data from OpenAI-compatible endpoints, still empty."""

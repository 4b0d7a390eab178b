"""Crawling: new instruction data from OpenAI-compatible endpoints."""

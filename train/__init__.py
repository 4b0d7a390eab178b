"""Training: LoRA on a mixture, loss by provenance, merging. Nothing outside imports torch."""

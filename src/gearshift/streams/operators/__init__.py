"""What stands between two stages: one small class each, pure, over batches."""

"""Hour and day buckets of the history: folded from raw rows behind a watermark, and read with unrolled rows."""

"""Fine-tuning: a backbone that has learnt from much data, tuned to a task with little."""

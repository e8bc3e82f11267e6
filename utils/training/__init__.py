"""Parts of a training run: optimizer step, schedule, monitor, process, dry run."""

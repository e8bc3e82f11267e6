"""The process and the disk: files, threads, devices, logging; nothing here knows images."""

"""The process and the disk: files, threads, devices, logging; independent of images."""

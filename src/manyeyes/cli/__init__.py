"""The command line. No module here imports torch before a command needs it, so that ``--help`` answers at once."""

"""The words of renkei as frozen records, and the files that people write. No I/O but reading those files."""

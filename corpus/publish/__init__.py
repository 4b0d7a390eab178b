"""Publishing: stored rows as a folder that the Hugging Face Hub, and anybody, can load by name."""

from corpus.publish.folder import Publication, digest_of_files, put_folder

__all__ = ["Publication", "digest_of_files", "put_folder"]

"""Publishing: stored rows as a folder that the Hugging Face Hub, and anybody, can load by name."""

from corpus.publish.dataset import build_dataset_folder
from corpus.publish.folder import Publication, digest_of_files, put_folder

__all__ = ["Publication", "build_dataset_folder", "digest_of_files", "put_folder"]

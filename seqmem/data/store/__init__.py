"""Texts as token ids on disk: written once by several processes, mapped into memory, checked before they are used."""

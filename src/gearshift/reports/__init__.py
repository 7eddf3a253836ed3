"""Finished results -> text, pages, pictures. Nothing here measures or decides."""

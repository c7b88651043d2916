"""Families of analytic denoisers, on targets that can be seen and on images."""

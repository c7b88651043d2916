"""Experiments: recipes that train, draw and measure, each in a folder that a killed run takes up again."""

"""The experiments of the papers: a row is one network on one data set, shared by all experiments; each writes what it measured.

recipes/  recipe.py     what a row is, read from TOML
rows.py                 a row's network, calibrations and samples: made when first asked for, kept, taken up after a kill
records.py              raw values, one for each seed, and the statistics of them
experiment.py           what all experiments share: measure a row, then table, pictures, results
table1.py ...           one experiment a file
published.py            the numbers to compare with
"""

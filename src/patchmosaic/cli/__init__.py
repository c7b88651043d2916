"""The command line: thin verbs over the public API, one a file. Nothing heavy is imported until a verb runs."""

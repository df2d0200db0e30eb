"""What every page of ours stands on: templates, languages, assets, forms and the browser's defences.

Knows no feature: the pages themselves, their templates and translations live with the feature that shows them.
"""

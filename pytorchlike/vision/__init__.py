"""Pictures: transforms, data sets, models and operators under torchvision's names.

Under ``python -m pytorchlike`` and after ``install_as_torch()``, ``import torchvision`` gives this package. Pillow
(``pip install "pytorchlike[vision]"``) is imported when a picture is first made or read.
"""

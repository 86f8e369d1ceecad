"""Neural distances: how far apart two samples are, as a variant's critic tells that is trained between them."""

"""Fusions: from all blocks of a feature table to one prediction. The mixture of experts, and every rival of it."""

from manyeyes.registry import Registry

FUSIONS = Registry(
    "fusions",
    {
        "auto": "manyeyes.fusion.auto:Auto",
        "mixture": "manyeyes.fusion.mixture:MixtureOfExperts",
        "embedding-classifier": "manyeyes.fusion.embedding_classifier:EmbeddingClassifier",
        "stacking": "manyeyes.fusion.stacking:Stacking",
        "stacking-product": "manyeyes.fusion.stacking:StackingProduct",
        "stacking-in-sample": "manyeyes.fusion.stacking:StackingInSample",
        "stacking-product-in-sample": "manyeyes.fusion.stacking:StackingProductInSample",
        "best-single": "manyeyes.fusion.best_single:BestSingle",
        "greedy": "manyeyes.fusion.greedy:GreedyEnsemble",
        "class-precision": "manyeyes.fusion.class_precision:ClassPrecision",
        "evidence": "manyeyes.fusion.evidence:EvidenceSelection",
        "log-linear": "manyeyes.fusion.log_linear:LogLinearPool",
        "concat+softmax": "manyeyes.fusion.concatenation:ConcatSoftmax",
        "concat+svm": "manyeyes.fusion.concatenation:ConcatSvm",
        "concat+raw+svm": "manyeyes.fusion.concatenation:ConcatRawSvm",
        "concat+pca+svm": "manyeyes.fusion.concatenation:ConcatPcaSvm",
        "concat+ridge": "manyeyes.fusion.concatenation:ConcatRidge",
        "concat+kernel-ridge": "manyeyes.fusion.concatenation:ConcatKernelRidge",
        "concat+lda": "manyeyes.fusion.concatenation:ConcatLda",
    },
)

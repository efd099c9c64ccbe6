from duograph.codegen.vector import Vec, Vectors
def _no(v,*a): raise NotImplementedError
exp=exp2=expm1=log=log2=log1p=sin=cos=tan=tanh=erf=power=floor_divide=floor_modulo=_no

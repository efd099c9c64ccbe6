"""Lists that grow in loops, read and changed as Python allows, at lengths that change: dynamic, static and strict agree."""

from __future__ import annotations

import functools

import pytest
from user_modes import Program, check, make

import duograph as dg


def base(x):
    out = []
    for i in range(x.shape[0]):
        out.append(x[i] * 2)
    return out


def setlast_list(x):
    out = base(x)
    out[-1] = x[0]
    return dg.stack(out)


def setfirst_list(x):
    out = base(x)
    out[0] = x[1] + 1
    return dg.stack(out)


def poplast_list(x):
    out = base(x)
    y = out.pop()
    return dg.stack(out), y


def pop0_list(x):
    out = base(x)
    y = out.pop(0)
    return dg.stack(out), y


def insert_list(x):
    out = base(x)
    out.insert(1, x[0])
    return dg.stack(out)


def insert0_list(x):
    out = base(x)
    out.insert(0, x[0])
    return dg.stack(out)


def rev_list(x):
    out = base(x)
    out.reverse()
    return dg.stack(out)


def rev2_list(x):
    out = base(x)
    return dg.stack(list(reversed(out)))


def rev3_list(x):
    out = base(x)
    return dg.stack(out[::-1])


def tup_list(x):
    out = tuple(base(x))
    return x.sum() * len(out), dg.stack(out)


def star_list(x):
    def f(*a):
        return x.sum() * len(a) + a[-1].sum()

    return f(*base(x))


def truth_list(x):
    out = []
    for i in range(x.shape[0] - 4):
        out.append(x[i])
    if out:
        return x.sum()
    return x.sum() * 2


def nottruth_list(x):
    out = []
    for i in range(x.shape[0] - 4):
        out.append(x[i])
    return x.sum() if not out else x.sum() * 2


def ortruth_list(x):
    out = []
    for i in range(x.shape[0] - 4):
        out.append(x[i])
    return dg.stack(out or [x[0]])


def unpack_list(x):
    a, *b = base(x)
    return a * len(b)


def comp_list(x):
    return dg.stack([y * 3 for y in base(x)])


def compif_list(x):
    return dg.stack([y * 3 for i, y in enumerate(base(x)) if i % 2 == 0])


def ziplist_list(x):
    return sum((a * b).sum() for a, b in zip(base(x), base(x)[1:]))


def ziplist2_list(x):
    return [(a * b).sum() for a, b in zip(base(x), [1.0, 2.0, 3.0])]


def delitem_list(x):
    out = base(x)
    del out[0]
    return dg.stack(out)


def add_list(x):
    out = base(x) + base(x)
    return dg.stack(out) * len(out)


def mul_list(x):
    out = base(x) * 2
    return dg.stack(out) * len(out)


def eqlist_list(x):
    out = base(x)
    return x.sum() if len(out) == 4 else x.sum() * 3


def inlist_list(x):
    out = base(x)
    y = out[0]
    return x.sum() if any(y is z for z in out) else x.sum() * 3


def mx_list(x):
    out = [r.sum() for r in base(x)]
    return max(out)


def ret_list(x):
    return base(x)


def dic_list(x):
    return {i: r for i, r in enumerate(base(x))}


def dic2_list(x):
    return {"a": base(x), "n": len(base(x))}


def concat_list(x):
    out = base(x)
    out += [x[0], x[1]]
    out.extend(base(x))
    return dg.stack(out)


def slc_list(x):
    out = base(x)
    return dg.stack(out[1:]) + dg.stack(out[:-1])


def slc2_list(x):
    out = base(x)
    return dg.stack(out[::2])


def srt_list(x):
    out = base(x)
    return [o.sum() for o in sorted(out, key=lambda t: 1)]


def clear_list(x):
    out = base(x)
    out.clear()
    out.append(x[0])
    return dg.stack(out)


def cp_list(x):
    out = base(x)
    o2 = out.copy()
    o2.append(x[0])
    return dg.stack(out).sum() + dg.stack(o2).sum()


def enum_list(x):
    t = x.sum()
    for i, (a, b) in enumerate(zip(base(x), reversed(base(x)))):
        t = t + (a * b).sum() * i
    return t


def mapp_list(x):
    return dg.stack(list(map(lambda r: r * 2, base(x))))


def filt_list(x):
    return dg.stack(list(filter(lambda r: r.ndim == 1, base(x))))


def red_list(x):
    return functools.reduce(lambda a, b: a + b, base(x))


def itr_list(x):
    it = iter(base(x))
    a = next(it)
    b = next(it)
    return a - b


def printed_list(x):
    print(len(base(x)), "items")
    return x.sum()


def closed_list(x):
    out = base(x)

    def f(k):
        return out[k]

    return f(0) + f(2) + f(-1)


def wr_list(x):
    out = base(x)
    out[1].add_(1)
    return dg.stack(out)


def wr2_list(x):
    out = base(x)
    for o in out:
        o.mul_(2)
    return dg.stack(out)


def wr3_list(x):
    out = base(x)
    for o in out[::-1]:
        o.mul_(2)
    return dg.stack(out)


def wr4_list(x):
    out = base(x)
    r = out[::-1]
    r[0].mul_(5)
    return dg.stack(out)


def last_read(x):
    path = [x[0]]
    for i in range(1, x.shape[0]):
        path.append(path[-1] * 0.5 + x[i])
    return dg.stack(path)


def last2_read(x):
    path = [x[0]]
    for r in x:
        path.append(path[-1] * 0.5 + r)
    return dg.stack(path)


def last3_read(x):
    path = [x[0], x[1]]
    for r in x:
        path.append(path[-1] * 0.5 + path[-2] + r)
    return dg.stack(path)


def first_read(x):
    path = [x[0]]
    for r in x:
        path.append(path[0] * 0.5 + r)
    return dg.stack(path)


def idx_read(x):
    path = [x[0]]
    for i in range(x.shape[0]):
        path.append(path[i] * 0.5 + x[i])
    return dg.stack(path)


def ln_read(x):
    path = [x[0]]
    for r in x:
        path.append(r * len(path))
    return dg.stack(path)


def inner_read(x):
    path = [x[0]]
    for r in x:
        s = r * 0
        for p in path:
            s = s + p
        path.append(r + s)
    return dg.stack(path)


def sm_read(x):
    path = [x[0]]
    for r in x:
        path.append(r + sum(path) * 0.1)
    return dg.stack(path)


def stk_read(x):
    path = [x[0]]
    for r in x:
        path.append(r + dg.stack(path).mean(0))
    return dg.stack(path)


def wh_read(x):
    path = [x[0]]
    while path[-1].sum() < 20.0:
        path.append(path[-1].abs() * 1.5 + 0.1)
    return dg.stack(path)


def nested_read(x):
    lst = [[x[0]], [x[1]]]
    for r in x:
        lst[0].append(lst[1][-1] + r)
        lst[1].append(lst[0][-1] * 0.5)
    return dg.stack(lst[0]) + dg.stack(lst[1])


def obj_read(x):
    class H:
        def __init__(self):
            self.p = [x[0]]

    h = H()
    for r in x:
        h.p.append(h.p[-1] * 0.5 + r)
    return dg.stack(h.p)


def dct_read(x):
    h = {"p": [x[0]]}
    for r in x:
        h["p"].append(h["p"][-1] * 0.5 + r)
    return dg.stack(h["p"])


def slc_read(x):
    h = [x[0]]
    for r in x:
        h.append(sum(h[-2:]) * 0.5 + r)
    return dg.stack(h)


# How often each is captured for four lengths: twice, or for each length where Python needs the list itself.
CAPTURES = {
    **{
        setlast_list: 4,
        setfirst_list: 4,
        poplast_list: 4,
        pop0_list: 4,
        insert_list: 4,
        insert0_list: 2,
        rev_list: 2,
        rev2_list: 2,
        rev3_list: 2,
        tup_list: 4,
        star_list: 4,
        truth_list: 2,
        nottruth_list: 2,
        ortruth_list: 2,
        unpack_list: 4,
        comp_list: 2,
        compif_list: 4,
        ziplist_list: 2,
        ziplist2_list: 4,
        delitem_list: 4,
        add_list: 2,
        mul_list: 2,
        eqlist_list: 2,
        inlist_list: 4,
        mx_list: 4,
        ret_list: 4,
        dic_list: 4,
        dic2_list: 4,
        concat_list: 2,
        slc_list: 2,
        slc2_list: 2,
        srt_list: 4,
        clear_list: 2,
        cp_list: 2,
        enum_list: 2,
        mapp_list: 4,
        filt_list: 4,
        red_list: 4,
        itr_list: 4,
        printed_list: 2,
        closed_list: 2,
        wr_list: 2,
        wr2_list: 2,
        wr3_list: 4,
        wr4_list: 4,
    },
    **{
        last_read: 2,
        last2_read: 2,
        last3_read: 4,
        first_read: 2,
        idx_read: 4,
        ln_read: 2,
        inner_read: 4,
        sm_read: 4,
        stk_read: 4,
        wh_read: 2,
        nested_read: 2,
        obj_read: 2,
        dct_read: 2,
        slc_read: 4,
    },
}


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("function", CAPTURES, ids=lambda function: function.__name__)
def test_modes_agree(function):
    check(lambda: Program(function, *[(make(n, 3),) for n in (4, 5, 9, 12)]), CAPTURES[function])

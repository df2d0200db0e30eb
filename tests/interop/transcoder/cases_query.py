"""Query strings: names, nesting, repetition, and the text forms of every type."""

from tests.interop.transcoder.case import Case, get, post

_LONG = "9" * 400


def _sink(query: str) -> Case:
    return get(f"/b/whole?{query}")


def _place(query: str) -> Case:
    return get(f"/p/star/1?{query}")


QUERY: tuple[Case, ...] = (
    _place("name=n"),
    _place("otherName=n"),
    _place("other_name=n"),
    _place("othername=n"),
    _place("name=a%20b"),
    _place("name=a+b"),
    _place("name=a%2Bb"),
    _place("name=%C3%A9"),
    _place("name=é"),
    _place("name=%FF"),
    _place("name=%zz"),
    _place("name=%00"),
    _place("name=%00x"),
    _place("name=a=b"),
    _place("name=a;tags=b"),
    _place("name"),
    _place("name="),
    _place("=x"),
    _place("&&name=n&"),
    _place("n%61me=n"),
    _place("name=a&name=b"),
    _place("name=a&name=a"),
    _place("small="),
    _place("small=7&small=7"),
    _place("unknown=1"),
    _place("unknown="),
    _place("inner.unknown=1"),
    _place("name.more=1"),
    _place("inner=1"),
    _place("inner.name=n"),
    _place("inner.inner.inner.otherName=n"),
    _place("inner.inner.id=1&inner.name=n"),
    _place("inner..name=n"),
    _place(".name=n"),
    _place("inner.=n"),
    _place("tags=a&tags=b"),
    _place("tags=a&name=n&tags=b"),
    _place("tags=a,b"),
    _place("tags=&tags=b"),
    _place("tags[]=a"),
    _place("tags[0]=a"),
    _place("inner.tags=a&inner.tags=b"),
    _place("numbers=1&numbers=-2"),
    _place("numbers=1&numbers=x"),
    _place("numbers=1,2"),
    _place(".".join(["inner"] * 40) + ".name=n"),
    get("/p/star/1?" + ".".join(["inner"] * 120) + ".name=n", label="a parameter nested 120 deep"),
    # beside the path
    _place("id=1"),
    _place("id=2"),
    get("/p/nested/1/a/2/b/3?inner.id=1"),
    get("/p/nested/1/a/2/b/3?inner.id=4"),
    get("/p/nested/1/a/2/b/3?inner.name=n"),
    # beside the body
    post("/p/several/1?name=n", "{}", method="PUT"),
    post("/p/several/1?unknown=n", "{}", method="PUT"),
    post("/p/several/1?name=n", method="PUT"),
    post("/p/several?id=1", '{"name":"n"}'),
    post("/p/several?inner.id=1", '{"name":"n"}'),
    post("/p/several?inner.id=1", "{}"),
    post("/b/part/1?dry=true", '{"name":"n"}'),
    post("/b/part/1?place.name=n", "{}"),
    post("/b/part/1?updateMask=name,otherName", "{}"),
    post("/p/several/1?name=n", method="DELETE"),
    # booleans
    *(_sink(f"aBool={value}") for value in ("true", "false", "1", "0", "t", "F", "True", "TRUE", "tRUE", "yes", "on")),
    # numbers
    *(_sink(f"anInt32={value}") for value in ("1", "-1", "%2B1", "1.0", "1e3", "1.5", "x", "2147483648", "01", "+1")),
    *(_sink(f"anInt64={value}") for value in ("9007199254740993", "-9223372036854775808", "9223372036854775808")),
    *(_sink(f"aUint64={value}") for value in ("18446744073709551615", "18446744073709551616", "-1")),
    *(_sink(f"{name}=-5") for name in ("aSint32", "aSint64", "aSfixed32", "aSfixed64")),
    *(_sink(f"{name}=5") for name in ("aUint32", "aFixed32", "aFixed64")),
    *(
        _sink(f"aDouble={value}")
        for value in ("1.5", "-0", "1e308", "1e309", "NaN", "-Infinity", "inf", "nan", ".5", "1.")
    ),
    *(_sink(f"aFloat={value}") for value in ("1.5", "1e38", "1e39", "0.1")),
    get(f"/b/whole?anInt64={_LONG}", label="a number of 400 digits in a query"),
    # other scalars
    *(_sink(f"color={value}") for value in ("COLOR_GREEN", "2", "0", "9", "-1", "GREEN", "color_green", "COLOR_BLUE")),
    *(_sink(f"someBytes={value}") for value in ("aGk=", "aGk", "_-8=", "%2B%2F8=", "a", "!!")),
    _sink("colors=COLOR_RED&colors=2"),
    _sink("blobs=aGk%3D&blobs=aGk%3D"),
    _sink("maybeInt=0"),
    _sink("maybeString="),
    _sink("left=a"),
    _sink("left=a&right=1"),
    _sink("otherName=a"),
    _sink("renamed=a"),
    _sink("nullField=NULL_VALUE"),
    # well-known types
    *(_sink(f"time={value}") for value in ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00.123456789Z")),
    *(_sink(f"time={value}") for value in ("2030-01-31T12:00:00%2B02:00", "2030-01-31", "0", "2030-02-30T00:00:00Z")),
    *(_sink(f"duration={value}") for value in ("1.5s", "-1.5s", "0s", "1", "1m", "315576000001s", "1.0000000001s")),
    *(_sink(f"mask={value}") for value in ("aBool", "aBool,child.aBool", "a_bool", "a,,b", "a%20b")),
    _sink("stringValue=a"),
    _sink("stringValue="),
    _sink("int64Value=9007199254740993"),
    _sink("boolValue=false"),
    _sink("boolValue=0"),
    _sink("doubleValue=1.5"),
    _sink("bytesValue=aGk="),
    _sink("time.seconds=1"),
    _sink("stringValue.value=a"),
    _sink("times=2030-01-31T12:00:00Z"),
    # what no text can set
    _sink("labels=a"),
    _sink("labels.a=b"),
    _sink("labels[a]=b"),
    _sink("children.aString=a"),
    _sink("children=a"),
    _sink("struct=a"),
    _sink("struct.a=b"),
    _sink("value=1"),
    _sink("any=a"),
    _sink("empty="),
    _sink("child.aBool=true&child.child.nums=1&child.child.nums=2"),
)

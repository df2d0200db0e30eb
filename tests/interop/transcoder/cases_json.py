"""JSON bodies: every type and well-known type, in every form that is right and in many that are not."""

from tests.interop.transcoder.case import Case, post


def _sink(body: bytes | str, label: str = "") -> Case:
    return post("/b/whole", body, label=label)


def _field(name: str, *values: str) -> tuple[Case, ...]:
    return tuple(_sink(f'{{"{name}":{value}}}') for value in values)


SCALARS: tuple[Case, ...] = (
    *_field("aBool", "true", "false", '"true"', "1", "null", "[]"),
    *_field("aString", '"x"', '""', '"\\u00e9\\n"', '"\\ud83d\\udcbe"', '"\\ud83d"', '"\\u0000"', "1", "true", "{}"),
    *_field("anInt32", "1", '"1"', "-1", "1.0", "1e3", '"1e3"', "1.5", '"x"', '""', '" 1"', "2147483648", "true", "01"),
    *_field("anInt64", "1", '"9007199254740993"', "9007199254740993", '"-9223372036854775808"', "9223372036854775808"),
    *_field("anInt64", "1e18", '"9223372036854775807"', "9.5"),
    *_field("aUint32", "4294967295", "4294967296", "-1", '"5"'),
    *_field("aUint64", '"18446744073709551615"', '"18446744073709551616"', '"-1"'),
    *_field("aSint64", '"-5"'),
    *_field("aFixed64", '"5"'),
    *_field("aSfixed64", '"-5"'),
    *_field("aDouble", "1.5", "-0.0", "1e308", "1e309", '"NaN"', '"Infinity"', '"-Infinity"', '"1.5"', "NaN", '"inf"'),
    *_field("aDouble", "0.1", "1e-320", "123456789012345678", '""', "true"),
    *_field("aFloat", "1.5", "0.1", "3.4028235e38", "1e39", '"NaN"', "16777217"),
    *_field("color", '"COLOR_RED"', "1", "0", "9", '"9"', '"1"', '"RED"', '"color_red"', "null", "1.0", "1.5"),
    *_field("someBytes", '"aGk="', '"aGk"', '"_-8="', '"+/8="', '"aGk=="', '"a"', '"a b="', '"!!"', '""', "1"),
    *_field("nullField", "null", '"NULL_VALUE"', "0"),
    *_field("maybeInt", "0", "null", "7"),
    *_field("maybeString", '""', "null"),
    *_field("otherName", '"x"'),
    *_field("renamed", '"x"'),
    *_field("a_string", '"x"'),
)
SHAPES: tuple[Case, ...] = (
    *_field("nums", "[1,2]", '["1",2]', "[]", "null", "1", "[null]", "[1,[2]]", '[1,"x"]', "{}"),
    *_field("longs", '["1",2]'),
    *_field("words", '["a",""]'),
    *_field("colors", '["COLOR_RED",2]', '["COLOR_BLUE"]'),
    *_field("child", "{}", "null", '{"child":{"aBool":true}}', '{"unknown":1}', "[]", '"x"'),
    *_field("children", '[{},{"aBool":true}]', "[null]", "[1]", '{"aBool":true}'),
    *_field("labels", '{"a":"b","":"c"}', "{}", "null", '{"a":null}', '{"a":1}', "[]", '{"a":"b","a":"c"}'),
    *_field("sinks", '{"1":{"aBool":true}}', '{"x":{}}', '{"1":{"unknown":1}}', '{"1":{},"01":{}}'),
    *_field("flags", '{"true":1,"false":2}', '{"1":1}', '{"TRUE":1}'),
    *_field("palette", '{"a":"COLOR_RED"}', '{"a":"COLOR_BLUE"}'),
    *_field("left", '"a"', '""', "null"),
    *_field("none", "null"),
    *_field("middle", "{}"),
    *(
        _sink(body)
        for body in (
            '{"left":"a","right":1}',
            '{"left":"a","right":null}',
            '{"left":"a","left":"b"}',
            '{"aBool":true,"aBool":true}',
            '{"aString":"a","a_string":"b"}',
            '{"aBool":null,"a_bool":true}',
            '{"unknown":1}',
            '{"aBool":true,"unknown":null}',
            '{"child":{"aBool":true},"child":{"aString":"x"}}',
        )
    ),
)
WELL_KNOWN: tuple[Case, ...] = (
    *_field("time", '"2030-01-31T12:00:00Z"', '"2030-01-31T12:00:00.5Z"', '"2030-01-31T12:00:00.123456789+02:00"'),
    *_field("time", '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999999Z"', '"0000-01-01T00:00:00Z"'),
    *_field(
        "time", '"2030-01-31t12:00:00z"', '"2030-01-31 12:00:00Z"', '"2030-01-31T12:00:00"', '"2030-02-30T00:00:00Z"'
    ),
    *_field("time", '"2030-01-31T24:00:00Z"', '"2030-01-31T12:00:60Z"', "1", "null", '{"seconds":1}', '""'),
    *_field("time", '"2030-01-31T12:00:00.0000000001Z"', '"1969-12-31T23:59:59.5Z"', '"2030-01-31T12:00:00-00:00"'),
    *_field(
        "duration", '"1s"', '"1.5s"', '"-1.5s"', '"0.000000001s"', '"1.1234567890s"', '"s"', '"1"', '"1m"', '"+1s"'
    ),
    *_field("duration", '"315576000000s"', '"315576000001s"', '".5s"', '"1.s"', "1", '"1e3s"', '"-0.5s"'),
    *_field("mask", '"aBool,child.aBool"', '""', '"a_bool"', '"a,,b"', '"*"', "1", '["aBool"]', '{"paths":["a_bool"]}'),
    *_field("struct", '{"a":[1,null,{"b":true}],"c":"d"}', "{}", "null", "[]", '{"a":1,"a":2}'),
    *_field("value", "null", "1", '"x"', "true", "[]", "{}", '{"a":[]}'),
    *_field("list", '[1,"a",null]', "[]", "{}"),
    *_field("values", "[null,1]"),
    *_field("any", '{"@type":"type.googleapis.com/kitchen.v1.Inner","deepName":"x"}'),
    *_field("any", '{"deepName":"x","@type":"type.googleapis.com/kitchen.v1.Inner"}'),
    *_field("any", '{"@type":"types.example.com/kitchen.v1.Inner","deepName":"x"}'),
    *_field("any", '{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"}'),
    *_field("any", '{"@type":"type.googleapis.com/kitchen.v1.Inner","unknown":1}', '{"nums":[1]}', "{}", "1", "null"),
    *_field("any", '{"@type":"type.googleapis.com/nobody.Knows"}', '{"@type":"kitchen.v1.Inner"}', '{"@type":1}'),
    *_field("empty", "{}", "null", '{"a":1}', "[]"),
    *_field("stringValue", '"x"', '""', "null", "1", '{"value":"x"}'),
    *_field("int64Value", '"9007199254740993"', "5", '"x"'),
    *_field("boolValue", "false", '"false"'),
    *_field("doubleValue", "1.5", '"NaN"'),
    *_field("bytesValue", '"aGk="'),
    *_field("times", '["2030-01-31T12:00:00Z"]', "[null]"),
)
DOCUMENTS: tuple[Case, ...] = (
    *(
        _sink(body)
        for body in (
            "",
            "{}",
            " {\n\t\r} ",
            "null",
            "[]",
            "1",
            '"x"',
            "true",
            "{",
            "}",
            '{"aBool"}',
            '{"aBool":}',
            '{"aBool":true,}',
            '{"aBool":tru}',
            '{"nums":[1,]}',
            "{'aBool':true}",
            "{aBool:true}",
            '{"aBool":true} x',
            '{"aBool":true}{}',
            '{"aBool":true} // comment',
            '/* comment */{"aBool":true}',
            '{"aDouble":Infinity}',
            '{"aDouble":.5}',
            '{"aDouble":1.}',
            '{"aDouble":+1}',
            '{"aDouble":0x10}',
            '{"aString":"a\nb"}',
            '{"aString":"\\x"}',
            '{"aString":"\\u12"}',
            '{"aString":"x}',
            '{"a\\u0042ool":true}',
        )
    ),
    _sink(b'\xef\xbb\xbf{"aBool":true}', "a byte order mark before the document"),
    _sink(b'{"aString":"\xff"}', "a string that is no UTF-8"),
    _sink('{"aString":"é"}'.encode("latin-1"), "a string in Latin-1"),
    _sink('{"aBool":true}'.encode("utf-16"), "a document in UTF-16"),
    _sink('{"child":' * 90 + "{}" + "}" * 90, "messages 90 deep"),
    _sink('{"child":' * 120 + "{}" + "}" * 120, "messages 120 deep"),
    _sink('{"value":' + "[" * 40 + "]" * 40 + "}", "lists 40 deep"),
    _sink('{"value":' + "[" * 5000 + "]" * 5000 + "}", "lists 5000 deep"),
    _sink('{"anInt32":' + "1" * 5000 + "}", "a number of 5000 digits"),
    _sink('{"aDouble":0.' + "1" * 5000 + "}", "a fraction of 5000 digits"),
    _sink('{"words":[' + ",".join(['"x"'] * 5000) + "]}", "5000 words"),
)

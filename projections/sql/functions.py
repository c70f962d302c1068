"""The functions that a caller's SQL may use. What is not here does not exist.

None of them reads a table, a file, the network or the server's own state, waits, or raises on
demand. Those that take a type as text (`JSONExtract`) are checked beside (`TYPED`).
"""

from collections.abc import Iterator

PLAIN = """
    abs acos asin atan atan2 cbrt ceil ceiling cos degrees exp exp10 exp2 floor intDiv intDivOrZero
    log log10 log1p log2 ln mod modulo negate pi positiveModulo pow power radians round roundBankers
    roundDown sign sin sqrt tan trunc truncate plus minus multiply divide greatest least gcd lcm
    isFinite isInfinite isNaN ifNotFinite
    bitAnd bitOr bitXor bitNot bitShiftLeft bitShiftRight bitTest bitCount
    and or not xor if multiIf equals notEquals less greater lessOrEquals greaterOrEquals
    coalesce ifNull nullIf isNull isNotNull assumeNotNull toNullable
    empty notEmpty length lengthUTF8 char_length lower upper lcase ucase lowerUTF8 upperUTF8 reverse
    reverseUTF8 concat concatWithSeparator substring substr substringUTF8 left right leftUTF8
    rightUTF8 trim ltrim rtrim trimLeft trimRight trimBoth leftPad rightPad startsWith endsWith
    position positionCaseInsensitive positionUTF8 positionCaseInsensitiveUTF8 locate
    countSubstrings countSubstringsCaseInsensitive like notLike ilike notILike match extract
    extractAll extractGroups countMatches multiSearchAny multiSearchFirstIndex hasToken
    replace replaceAll replaceOne replaceRegexpAll replaceRegexpOne translate splitByChar
    splitByString splitByRegexp splitByWhitespace alphaTokens arrayStringConcat format base64Encode
    base64Decode tryBase64Decode hex unhex ascii initcap
    domain domainWithoutWWW topLevelDomain protocol path pathFull queryString fragment
    extractURLParameter extractURLParameters cutToFirstSignificantSubdomain decodeURLComponent
    encodeURLComponent
    toString toInt8 toInt16 toInt32 toInt64 toUInt8 toUInt16 toUInt32 toUInt64 toFloat32 toFloat64
    toInt32OrNull toInt64OrNull toUInt32OrNull toUInt64OrNull toFloat64OrNull toInt32OrZero
    toInt64OrZero toUInt32OrZero toUInt64OrZero toFloat64OrZero toDecimal32 toDecimal64
    toDate toDate32 toDateTime toDateTime64 toDateOrNull toDateTimeOrNull toDateTime64OrNull
    toUUIDOrNull parseDateTimeBestEffort parseDateTimeBestEffortOrNull
    parseDateTime64BestEffortOrNull
    now now64 today yesterday toYear toQuarter toMonth toDayOfYear toDayOfMonth toDayOfWeek toHour
    toMinute toSecond toMillisecond toISOYear toISOWeek toWeek toYearWeek toUnixTimestamp
    toUnixTimestamp64Milli toUnixTimestamp64Micro fromUnixTimestamp fromUnixTimestamp64Milli
    fromUnixTimestamp64Micro toStartOfYear toStartOfQuarter toStartOfMonth toStartOfWeek toMonday
    toStartOfDay toStartOfHour toStartOfMinute toStartOfFiveMinutes toStartOfTenMinutes
    toStartOfFifteenMinutes toStartOfSecond toStartOfInterval toLastDayOfMonth toLastDayOfWeek
    toYYYYMM toYYYYMMDD toTimeZone dateDiff date_diff dateTrunc date_trunc dateName formatDateTime
    addYears addQuarters addMonths addWeeks addDays addHours addMinutes addSeconds subtractYears
    subtractQuarters subtractMonths subtractWeeks subtractDays subtractHours subtractMinutes
    subtractSeconds age timeSlot toIntervalSecond toIntervalMinute toIntervalHour toIntervalDay
    toIntervalWeek toIntervalMonth toIntervalYear
    JSONHas JSONLength JSONType JSONExtract JSONExtractString JSONExtractInt JSONExtractUInt
    JSONExtractFloat JSONExtractBool JSONExtractRaw JSONExtractArrayRaw JSONExtractKeys
    JSONExtractKeysAndValuesRaw isValidJSON toJSONString
    array range emptyArrayString arrayElement has hasAll hasAny hasSubstr indexOf countEqual
    arrayConcat arrayPushBack arrayPushFront arraySlice arrayReverse arrayDistinct arrayUniq
    arrayCompact arrayEnumerate arrayFlatten arrayZip arrayIntersect arrayMap arrayFilter
    arrayExists arrayAll arrayCount arrayFirst arrayLast arrayFirstIndex arrayLastIndex arraySort
    arrayReverseSort arraySum arrayAvg arrayMin arrayMax arrayProduct arrayDifference arrayCumSum
    arrayJoin tuple tupleElement map mapKeys mapValues mapContains mapFromArrays
    transform cityHash64 sipHash64 xxHash64 murmurHash3_64 halfMD5
    widthBucket bar formatReadableQuantity formatReadableSize formatReadableTimeDelta
"""

# May end in -If, -OrNull, -OrDefault, -Distinct; some take parameters in brackets of their own.
AGGREGATE = """
    count sum avg min max any anyLast argMin argMax median quantile quantiles quantileExact
    quantilesExact quantileTDigest quantilesTDigest quantileTiming quantilesTiming
    quantileDeterministic uniq uniqExact uniqCombined uniqCombined64 uniqHLL12 groupArray
    groupUniqArray groupArraySorted groupConcat topK topKWeighted stddevPop
    stddevSamp varPop varSamp covarPop covarSamp corr skewPop kurtPop entropy sumCount avgWeighted
    windowFunnel retention sequenceMatch sequenceCount histogram deltaSum
    deltaSumTimestamp groupBitAnd groupBitOr groupBitXor first_value last_value
    simpleLinearRegression
"""

# Only before OVER.
WINDOW = """
    row_number rank dense_rank percent_rank cume_dist ntile lag lead lagInFrame leadInFrame
    nth_value
"""

SUFFIXES = ("", "If", "OrNull", "OrDefault", "Distinct", "OrNullIf", "OrDefaultIf", "DistinctIf")
TYPED = frozenset({"JSONExtract"})  # their last argument is a type
STARRED = frozenset({"count"})  # may have `*` for an argument


def _by_lower_case(names: Iterator[str]) -> dict[str, str]:
    return {name.lower(): name for name in names}


# By the name in lower case: how the engine spells it.
AGGREGATES = _by_lower_case(f"{name}{suffix}" for name in AGGREGATE.split() for suffix in SUFFIXES)
WINDOWS = _by_lower_case(iter(WINDOW.split()))
FUNCTIONS = {**_by_lower_case(iter(PLAIN.split())), **AGGREGATES, **WINDOWS}

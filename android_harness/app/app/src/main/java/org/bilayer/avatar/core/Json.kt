package org.bilayer.avatar.core

/** JSON without Android's classes, so that it also runs on a plain JVM: maps, lists, strings, doubles, booleans, null. */
object Json {
    private const val MAX_DEPTH = 64

    fun read(text: String): Any? {
        val reader = Reader(text)
        val value = reader.value(0)
        reader.skip()
        if (reader.at < text.length) reader.fail("nothing more")
        return value
    }

    /** Whole numbers are to come as Int or Long, others as Double; those that are not finite are refused. */
    fun write(value: Any?): String = StringBuilder().also { append(it, value, "\n") }.append("\n").toString()

    private fun append(out: StringBuilder, value: Any?, line: String) {
        when (value) {
            null, is Boolean, is Int, is Long -> out.append(value)
            is Double -> {
                require(!value.isNaN() && !value.isInfinite()) { "JSON has no number for $value" }
                out.append(value)
            }
            is String -> quote(out, value)
            is Map<*, *> -> items(out, value.entries, line, '{', '}') { (name, item), inner ->
                quote(out, name as String)
                out.append(": ")
                append(out, item, inner)
            }
            is List<*> -> items(out, value, line, '[', ']') { item, inner -> append(out, item, inner) }
            else -> throw IllegalArgumentException("JSON has nothing for a ${value.javaClass.simpleName}")
        }
    }

    private fun <T> items(
        out: StringBuilder, all: Collection<T>, line: String, open: Char, close: Char, one: (T, String) -> Unit
    ) {
        out.append(open)
        val inner = "$line  "
        all.forEachIndexed { number, item ->
            out.append(if (number > 0) "," else "").append(inner)
            one(item, inner)
        }
        out.append(if (all.isEmpty()) "" else line).append(close)
    }

    private fun quote(out: StringBuilder, text: String) {
        out.append('"')
        for (c in text) {
            when {
                c == '"' || c == '\\' -> out.append('\\').append(c)
                c < ' ' || Character.isSurrogate(c) -> out.append(String.format("\\u%04x", c.toInt()))
                else -> out.append(c)
            }
        }
        out.append('"')
    }

    private class Reader(val text: String) {
        var at = 0

        fun fail(expected: String): Nothing =
            throw IllegalArgumentException("JSON: expected $expected at character $at of ${text.length}")

        fun skip() {
            while (at < text.length && text[at] in " \t\r\n") at++
        }

        fun value(depth: Int): Any? {
            if (depth > MAX_DEPTH) fail("less nesting")
            skip()
            return when (if (at < text.length) text[at] else ' ') {
                '{' -> members(depth)
                '[' -> list(depth)
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        private fun members(depth: Int): Map<String, Any?> {
            val found = LinkedHashMap<String, Any?>()
            sequence('}') {
                skip()
                if (at >= text.length || text[at] != '"') fail("a name")
                val name = string()
                skip()
                take(':')
                found[name] = value(depth + 1)
            }
            return found
        }

        private fun list(depth: Int): List<Any?> = ArrayList<Any?>().also { sequence(']') { it.add(value(depth + 1)) } }

        private fun sequence(close: Char, one: () -> Unit) {
            at++
            skip()
            if (at < text.length && text[at] == close) {
                at++
                return
            }
            while (true) {
                one()
                skip()
                if (at < text.length && text[at] == ',') {
                    at++
                } else {
                    take(close)
                    return
                }
            }
        }

        private fun take(c: Char) {
            if (at >= text.length || text[at] != c) fail("'$c'")
            at++
        }

        private fun word(word: String, value: Any?): Any? {
            if (!text.startsWith(word, at)) fail(word)
            at += word.length
            return value
        }

        private fun string(): String {
            val out = StringBuilder()
            at++
            while (true) {
                if (at >= text.length) fail("the end of a string")
                val c = text[at++]
                when {
                    c == '"' -> return out.toString()
                    c == '\\' -> escape(out)
                    c < ' ' -> fail("no control character")
                    else -> out.append(c)
                }
            }
        }

        private fun escape(out: StringBuilder) {
            val c = if (at < text.length) text[at++] else ' '
            val plain = "\"\\/bfnrt".indexOf(c)
            if (plain >= 0) {
                out.append("\"\\/\b\u000c\n\r\t"[plain])
            } else if (c == 'u' && at + 4 <= text.length) {
                out.append((text.substring(at, at + 4).toIntOrNull(16) ?: fail("four hexadecimal digits")).toChar())
                at += 4
            } else {
                fail("an escape")
            }
        }

        private fun number(): Double {
            val start = at
            while (at < text.length && text[at] in "+-0123456789.eE") at++
            val value = text.substring(start, at).toDoubleOrNull()
            if (value == null || value.isNaN() || value.isInfinite()) fail("a value")
            return value
        }
    }
}

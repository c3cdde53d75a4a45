package org.bilayer.avatar.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import org.json.JSONTokener

private const val MAX_DEPTH = 64
private val WHOLE_TEXT = Regex("(?<=at character [0-9]{1,10}) of [\\s\\S]*") // which org.json ends its messages with

/** Android's reader, which calls itself for each level of nesting and would fill the stack, with a bound. */
private class BoundedReader(text: String) : JSONTokener(text) {
    private var depth = 0

    override fun nextValue(): Any {
        if (depth++ > MAX_DEPTH) throw syntaxError("expected less nesting")
        return super.nextValue().also { depth-- }
    }
}

/**
 * The one value of a JSON text: a JSONObject, a JSONArray, or what they hold.
 *
 * @throws IllegalArgumentException the text is no JSON, is nested too deeply, or has more after the value
 */
fun readJson(text: String): Any = try {
    val reader = BoundedReader(text)
    reader.nextValue().also { if (reader.nextClean() != '\u0000') throw reader.syntaxError("expected nothing more") }
} catch (error: JSONException) {
    throw IllegalArgumentException("JSON: ${WHOLE_TEXT.replace(error.message.orEmpty(), "")}")
}

/** What a list of a JSON text holds. */
fun items(of: JSONArray): List<Any?> = List(of.length()) { of.opt(it) }

/** An object of a JSON file, whose fields are asked for by type; [where] names it in messages. */
class Fields(content: Any?, val where: String) {
    private val members = content as? JSONObject
        ?: throw IllegalArgumentException("${where.removeSuffix(".")}: expected an object")

    fun string(name: String) = get<String>(name, "a string")
    fun boolean(name: String) = get<Boolean>(name, "true or false")
    fun number(name: String) = finite(get<Number>(name, "a number"), name)
    fun fields(name: String) = Fields(members.opt(name), "$where$name.")
    fun list(name: String) =
        items(get<JSONArray>(name, "a list")).mapIndexed { at, item -> Fields(item, "$where$name[$at].") }

    fun optional(name: String): Fields? = if (members.isNull(name)) null else fields(name)

    fun int(name: String): Int {
        val value = number(name)
        require(value == Math.rint(value) && Math.abs(value) < 1e9) { "$where$name: expected a whole number, found $value" }
        return value.toInt()
    }

    /** As [int]; [missing] where there is no such field. */
    fun int(name: String, missing: Int) = if (members.has(name)) int(name) else missing

    fun floats(name: String): FloatArray {
        val items = items(get<JSONArray>(name, "a list"))
        return FloatArray(items.size) { finite(items[it], name).toFloat() }
    }

    private fun finite(value: Any?, name: String): Double {
        val number = (value as? Number)?.toDouble()
        require(number != null && !number.isNaN() && !number.isInfinite()) { "$where$name: expected numbers" }
        return number
    }

    private inline fun <reified T> get(name: String, expected: String): T =
        members.opt(name) as? T ?: throw IllegalArgumentException("$where$name: expected $expected")
}

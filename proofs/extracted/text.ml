(* Texts of a stranger's file: UTF-8, in which a lone surrogate of an escape \ud800 stands as if it were a character.
   The order of the bytes is then the order of the code points. *)

(* Whether bytes are UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. *)
let is_utf8 s =
  let n = String.length s in
  let byte i = if i < n then Char.code s.[i] else 0 in
  let tail i = byte i land 0xC0 = 0x80 in
  let rec from i =
    i >= n
    ||
    let a = byte i and b = byte (i + 1) in
    if a < 0x80 then from (i + 1)
    else if a < 0xC2 || a > 0xF4 then false
    else if a < 0xE0 then tail (i + 1) && from (i + 2)
    else if a < 0xF0 then
      tail (i + 1) && tail (i + 2) && (a <> 0xE0 || b >= 0xA0) && (a <> 0xED || b < 0xA0) && from (i + 3)
    else
      tail (i + 1) && tail (i + 2) && tail (i + 3) && (a <> 0xF0 || b >= 0x90) && (a <> 0xF4 || b < 0x90)
      && from (i + 4)
  in
  from 0

let add_code_point buffer c =
  let put byte = Buffer.add_char buffer (Char.chr byte) in
  let tail shift = put (0x80 lor ((c lsr shift) land 0x3F)) in
  if c < 0x80 then put c
  else if c < 0x800 then (put (0xC0 lor (c lsr 6)); tail 0)
  else if c < 0x10000 then (put (0xE0 lor (c lsr 12)); tail 6; tail 0)
  else (put (0xF0 lor (c lsr 18)); tail 12; tail 6; tail 0)

let width first = if first < 0x80 then 1 else if first < 0xE0 then 2 else if first < 0xF0 then 3 else 4

let iter f s =
  let n = String.length s in
  let rec from i =
    if i < n then begin
      let a = Char.code s.[i] in
      let w = min (width a) (n - i) in
      let c = ref (if w = 1 then a else a land (0xFF lsr (w + 1))) in
      for k = 1 to w - 1 do
        c := (!c lsl 6) lor (Char.code s.[i + k] land 0x3F)
      done;
      f !c;
      from (i + w)
    end
  in
  from 0

let length s =
  let n = ref 0 in
  String.iter (fun c -> if Char.code c land 0xC0 <> 0x80 then incr n) s;
  !n

(* The first characters. *)
let prefix count s =
  let n = String.length s in
  let rec cut i left = if i >= n then n else if left = 0 then i else cut (i + width (Char.code s.[i])) (left - 1) in
  String.sub s 0 (min n (cut 0 count))

(* As Python's repr writes it. (Of the characters above U+0100 that Python calls unprintable only surrogates are known
   here; [plain] writes the others as \x and their number, where the Python checker writes \u.) *)
let repr s =
  let quote = if String.contains s '\'' && not (String.contains s '"') then '"' else '\'' in
  let buffer = Buffer.create (String.length s + 2) in
  Buffer.add_char buffer quote;
  iter
    (fun c ->
      if c = Char.code quote || c = 0x5C then (Buffer.add_char buffer '\\'; Buffer.add_char buffer (Char.chr c))
      else if c = 0x09 then Buffer.add_string buffer "\\t"
      else if c = 0x0A then Buffer.add_string buffer "\\n"
      else if c = 0x0D then Buffer.add_string buffer "\\r"
      else if c < 0x20 || (c >= 0x7F && c <= 0xA0) || c = 0xAD then Printf.bprintf buffer "\\x%02x" c
      else if c >= 0xD800 && c < 0xE000 then Printf.bprintf buffer "\\u%04x" c
      else add_code_point buffer c)
    s;
  Buffer.add_char buffer quote;
  Buffer.contents buffer

(* ASCII, on one line, of at most 2000 characters: safe to print. *)
let plain s =
  let buffer = Buffer.create (String.length s) in
  iter
    (fun c -> if c >= 0x20 && c <= 0x7E then Buffer.add_char buffer (Char.chr c) else Printf.bprintf buffer "\\x%x" c)
    (prefix 2000 s);
  Buffer.contents buffer

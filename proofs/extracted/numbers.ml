(* The numbers that a certificate spells, exactly. *)

open Refusal

let is_hex c = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')
let every p s = String.for_all p s

(* A float64 >= 0 in hexadecimal as Python writes it: 0x0.0p+0, 0x1.(13 digits)p(exponent), 0x0.(13 digits)p-1022. *)
let spells_float64 text =
  let n = String.length text in
  text = "0x0.0p+0"
  || n >= 20 && n <= 23
     && String.sub text 0 2 = "0x"
     && text.[3] = '.'
     && every is_hex (String.sub text 4 13)
     && text.[17] = 'p'
     &&
     let sign = text.[18] and digits = String.sub text 19 (n - 19) in
     every Json.is_digit digits
     && (digits.[0] <> '0' || digits = "0")
     &&
     let e = int_of_string digits in
     match text.[2] with
     | '1' -> (sign = '+' && e <= 1023) || (sign = '-' && e >= 1 && e <= 1022)
     | '0' -> sign = '-' && e = 1022 && String.exists (fun c -> c <> '0') (String.sub text 4 13)
     | _ -> false

(* The float that such a text spells; [Refused] for NaN, infinity, -0, another spelling, or no text. *)
let hex_float value =
  match value with
  | Json.Text text when spells_float64 text -> float_of_string text
  | _ ->
      let text = Text.repr (Text.prefix 40 (Json.shown value)) in
      refused "%s is no float64 >= 0 in hexadecimal as Python writes it" text

let hex_number value = Q.of_float (hex_float value)

(* Of either sign, but not -0. *)
let signed text where =
  if text <> "" && text.[0] = '-' then begin
    let number = hex_float (Json.Text (String.sub text 1 (String.length text - 1))) in
    if number = 0. then refused "%s holds -0" where;
    -.number
  end
  else hex_float (Json.Text text)

let digits_from s i =
  let n = String.length s in
  let rec go j = if j < n && Json.is_digit s.[j] then go (j + 1) else j in
  go i

let natural s = if s = "" then Z.zero else Z.of_string s

(* p/q with at most 40 digits each and q > 0. *)
let as_ratio s =
  match String.split_on_char '/' s with
  | [ p; q ] ->
      let fits d = d <> "" && String.length d <= 40 && every Json.is_digit d in
      if fits p && fits q && Z.sign (natural q) > 0 then Some (Q.make (natural p) (natural q)) else None
  | _ -> None

(* [+] digits [. digits] [e [sign] (1 to 4 digits)], with a digit before the exponent, which is at most 400. *)
let as_decimal s =
  let n = String.length s in
  let is i c = i < n && s.[i] = c in
  let a = if is 0 '+' then 1 else 0 in
  let b = digits_from s a in
  let c, d = if is b '.' then (b + 1, digits_from s (b + 1)) else (b, b) in
  let exponent =
    if d = n then Some 0
    else if is d 'e' || is d 'E' then
      let signed = is (d + 1) '+' || is (d + 1) '-' in
      let from = if signed then d + 2 else d + 1 in
      let text = String.sub s (min from n) (max 0 (n - from)) in
      if text <> "" && String.length text <= 4 && every Json.is_digit text then
        Some (int_of_string text * if is (d + 1) '-' then -1 else 1)
      else None
    else None
  in
  match exponent with
  | Some e when n <= 1000 && b - a + (d - c) > 0 && abs e <= 400 ->
      let whole = natural (String.sub s a (b - a) ^ String.sub s c (d - c)) in
      let e = e - (d - c) in
      let power = Q.of_bigint (Z.pow (Z.of_int 10) (abs e)) in
      Some ((if e < 0 then Q.div else Q.mul) (Q.of_bigint whole) power)
  | _ -> None

(* The rational >= 0 that a claim's decimal or ratio spells. *)
let decimal text where =
  let n = String.length text in
  let rec first i = if i < n && text.[i] = ' ' then first (i + 1) else i in
  let rec last i = if i > 0 && text.[i - 1] = ' ' then last (i - 1) else i in
  let from = first 0 in
  let s = String.sub text from (max 0 (last n - from)) in
  match as_ratio s with
  | Some q -> q
  | None -> (
      match as_decimal s with
      | Some q -> q
      | None -> refused "%s %s is no decimal number" where (Text.repr (Text.prefix 40 s)))

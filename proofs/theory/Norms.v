(** What [proves] and [rows_prove] accept is true: ||A||^2 <= s for the real matrix of the map. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Dominance Packing Gram Maps.
Import ListNotations.
Open Scope R_scope.

(** ** Powers of two and floors *)

Lemma power_square_pos e : 0 < powerRZ 2 e ^ 2.
Proof. apply pow_lt, powerRZ_lt. lra. Qed.

Lemma power_four e : (0 <= e)%Z -> IZR (4 ^ e) = powerRZ 2 e ^ 2.
Proof.
  intros nonneg. replace 4%Z with (2 ^ 2)%Z by reflexivity. rewrite <- Z.pow_mul_r by lia.
  replace (2 * e)%Z with (e + e)%Z by lia. rewrite Z.pow_add_r, mult_IZR by lia.
  assert (IZR (2 ^ e) = powerRZ 2 e) as ->; [|ring].
  destruct (Z_of_nat_complete e nonneg) as [k ->]. rewrite <- pow_IZR, <- pow_powerRZ. reflexivity.
Qed.

Lemma floor_over_below q e : IZR (floor_over q e) * powerRZ 2 e ^ 2 <= Q2R q.
Proof.
  assert (forall a b, (0 < b)%Z -> IZR (a / b) * IZR b <= IZR a) as floor.
  { intros a b positive. rewrite <- mult_IZR. apply IZR_le. rewrite Z.mul_comm. apply Z.mul_div_le. exact positive. }
  assert (0 < IZR (Zpos (Qden q))) as den by (apply IZR_lt; reflexivity).
  unfold floor_over, Q2R. fold (Rdiv (IZR (Qnum q)) (IZR (Zpos (Qden q)))).
  apply Rmult_le_reg_r with (IZR (Zpos (Qden q))); [exact den|].
  replace (IZR (Qnum q) / IZR (Zpos (Qden q)) * IZR (Zpos (Qden q))) with (IZR (Qnum q)) by (field; lra).
  destruct (Z.leb_spec e 0) as [small|large].
  - specialize (floor (Qnum q * 4 ^ (- e))%Z (Zpos (Qden q)) eq_refl).
    rewrite mult_IZR, power_four in floor by lia.
    assert (powerRZ 2 (- e) ^ 2 * powerRZ 2 e ^ 2 = 1) as inverse.
    { rewrite <- Rpow_mult_distr, <- powerRZ_add by lra. replace (- e + e)%Z with 0%Z by lia. simpl. ring. }
    apply Rmult_le_compat_r with (r := powerRZ 2 e ^ 2) in floor; [|left; apply power_square_pos].
    rewrite (Rmult_assoc (IZR (Qnum q))), inverse in floor. lra.
  - specialize (floor (Qnum q) (Zpos (Qden q) * 4 ^ e)%Z).
    rewrite mult_IZR, power_four in floor by lia.
    assert (0 < Zpos (Qden q) * 4 ^ e)%Z as positive by (apply Z.mul_pos_pos; [reflexivity | apply Z.pow_pos_nonneg; lia]).
    specialize (floor positive). lra.
Qed.

(** A bound of the integer matrix is one of the scaled matrix. *)
Lemma bounded_scaled n m A top s e :
  bounded n m A (IZR top) -> IZR top * powerRZ 2 e ^ 2 <= s -> bounded n m (fun i j => A i j * powerRZ 2 e) s.
Proof.
  intros known below x. pose proof (known x) as step.
  rewrite (square_ext m _ (vscal (powerRZ 2 e) (apply n A x))).
  - rewrite square_scal. pose proof (square_nonneg n x). pose proof (power_square_pos e).
    apply Rle_trans with (powerRZ 2 e ^ 2 * (IZR top * square n x)); [apply Rmult_le_compat_l; lra | nra].
  - intros i _. unfold vscal, apply, dot. rewrite <- sum_scal. apply sum_ext; intros j _. ring.
Qed.

(** ** Another order of rows and columns *)

Lemma sum_by_place a b f : (0 < a)%nat -> sum (a * b) (fun i => f (by_place a (a * b) i)) = sum (a * b) f.
Proof.
  intros positive. rewrite (Nat.mul_comm a b) at 1. rewrite sum_blocks, (sum_blocks a b f), (sum_swap a b).
  apply sum_ext; intros p _. apply sum_ext; intros c below. unfold by_place. f_equal.
  replace (a * b / a)%nat with b by (rewrite Nat.mul_comm, Nat.div_mul; lia).
  assert ((p * a + c) mod a = c)%nat as -> by (rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small; lia).
  assert ((p * a + c) / a = p)%nat as -> by (rewrite Nat.add_comm, Nat.div_add, Nat.div_small; lia).
  reflexivity.
Qed.

Lemma divides_product a n : divides a n = true -> (0 < a)%nat /\ n = (a * (n / a))%nat.
Proof.
  unfold divides. intros holds. apply andb_prop in holds as [positive whole].
  apply Nat.ltb_lt in positive. apply Nat.eqb_eq in whole. lia.
Qed.

Lemma bounded_by_place n m a b A s :
  divides a m = true -> divides b n = true ->
  bounded n m (fun i j => A (by_place a m i) (by_place b n j)) s -> bounded n m A s.
Proof.
  intros of_rows of_columns known x.
  apply divides_product in of_rows as [Ha Hm]. apply divides_product in of_columns as [Hb Hn].
  assert (forall f, sum m (fun i => f (by_place a m i)) = sum m f) as same_rows
    by (intros f; rewrite Hm; apply sum_by_place; exact Ha).
  assert (forall f, sum n (fun j => f (by_place b n j)) = sum n f) as same_columns
    by (intros f; rewrite Hn; apply sum_by_place; exact Hb).
  specialize (known (fun j => x (by_place b n j))).
  unfold square at 2, dot in known. rewrite (same_columns (fun j => x j * x j)) in known.
  eapply Rle_trans; [right | exact known]. symmetry. unfold square, dot.
  rewrite <- (same_rows (fun i => apply n A x i * apply n A x i)). apply sum_ext; intros i _.
  assert (apply n (fun i0 j => A (by_place a m i0) (by_place b n j)) (fun j => x (by_place b n j)) i
    = apply n A x (by_place a m i)) as ->; [|reflexivity].
  apply (same_columns (fun j => A (by_place a m i) j * x j)).
Qed.

(** ** The rules *)

Lemma gram_proves_sound l of_rows a b factor s :
  Qle_bool 0 s = true -> gram_proves l of_rows a b factor s = true -> bounded (columns l) (rows l) (matrix l) (Q2R s).
Proof.
  intros nonneg holds. apply Qle_bool_iff, Qle_Rle in nonneg. rewrite RMicromega.Q2R_0 in nonneg.
  unfold gram_proves in holds. apply andb_prop in holds as [divide holds]. apply andb_prop in divide as [Ha Hb].
  apply gram_holds_sound in holds. pose proof (floor_over_below s (scale l)) as top.
  assert (forall m n f, divides a m = true -> divides b n = true ->
    bounded n m (fun i j => IZR (f (by_place a m i) (by_place b n j))) (IZR (floor_over s (scale l))) ->
    bounded n m (fun i j => IZR (f i j) * powerRZ 2 (scale l)) (Q2R s)) as general.
  { intros m n f Hm Hn known. apply bounded_scaled with (top := floor_over s (scale l)); [|exact top].
    apply (bounded_by_place n m a b (fun i j => IZR (f i j))); assumption. }
  destruct of_rows.
  - apply (general (rows l) (columns l) (entry l)); assumption.
  - apply (bounded_transpose (rows l) (columns l) (transpose (matrix l))); [exact nonneg|].
    apply (general (columns l) (rows l) (fun i j => entry l j i)); assumption.
Qed.

Lemma all_below_each n p i : all_below n p = true -> (i < n)%nat -> p i = true.
Proof.
  unfold all_below. rewrite forallb_forall. intros holds below. apply holds, in_seq. lia.
Qed.

Lemma Q2R_of_nat n : Q2R (inject_Z (Z.of_nat n)) = INR n.
Proof. unfold Q2R, inject_Z. cbn [Qnum Qden]. rewrite INR_IZR_INZ. field. Qed.

(** How many of 0 .. m - 1 the source sends to k. *)
Lemma copies_counted m (source : nat -> option nat) copies k :
  (forall i, (i < m)%nat -> source i = Some k -> In i copies) ->
  sum m (fun i => match source i with Some l => if Nat.eqb l k then 1 else 0 | None => 0 end) <= INR (length copies).
Proof.
  intros listed.
  set (hit i := match source i with Some l => Nat.eqb l k | None => false end).
  assert (sum m (fun i => match source i with Some l => if Nat.eqb l k then 1 else 0 | None => 0 end)
    = INR (length (filter hit (seq 0 m)))) as ->.
  { clear listed. induction m as [|m IH]; [reflexivity|].
    rewrite seq_S, filter_app, app_length, plus_INR. cbn [sum]. rewrite IH. f_equal. cbn.
    unfold hit. destruct (source m) as [l|]; [destruct (Nat.eqb l k)|]; reflexivity. }
  apply le_INR. apply NoDup_incl_length; [apply NoDup_filter, seq_NoDup|].
  intros i inside. apply filter_In in inside as [range hits]. apply in_seq in range.
  apply listed; [lia|]. unfold hit in hits. destruct (source i) as [l|]; [|discriminate].
  apply Nat.eqb_eq in hits. congruence.
Qed.

Lemma apply_copying n source x i :
  (forall k, source i = Some k -> (k < n)%nat) ->
  apply n (matrix (Copying 0 n source)) x i = match source i with Some k => x k | None => 0 end.
Proof.
  intros inside. unfold apply, dot, matrix. simpl. destruct (source i) as [k|].
  - rewrite (sum_only n _ k); [rewrite Nat.eqb_refl; ring | apply inside; reflexivity |].
    intros j _ other. destruct (Nat.eqb_spec k j); [congruence | ring].
  - apply sum_zero; intros j _. ring.
Qed.

Lemma copies_prove_sound out inner source copies s :
  copies_prove out inner source copies s = true ->
  bounded inner out (matrix (Copying out inner source)) (Q2R s).
Proof.
  unfold copies_prove. intros holds. apply andb_prop in holds as [listed counts].
  assert (forall i k, (i < out)%nat -> source i = Some k -> (k < inner)%nat /\ In i (copies k)) as each.
  { intros i k below same. apply (all_below_each _ _ i) in listed; [|exact below]. cbv beta in listed. rewrite same in listed.
    apply andb_prop in listed as [small there]. apply Nat.ltb_lt in small.
    apply existsb_exists in there as (j & inside & same_index). apply Nat.eqb_eq in same_index. subst j. auto. }
  intros x.
  assert (square out (apply inner (matrix (Copying out inner source)) x)
    = sum out (fun i => sum inner (fun k =>
        x k * x k * match source i with Some l => if Nat.eqb l k then 1 else 0 | None => 0 end))) as ->.
  { unfold square at 1, dot at 1. apply sum_ext; intros i below.
    change (matrix (Copying out inner source)) with (matrix (Copying 0 inner source)).
    rewrite apply_copying by (intros k same; apply (each i k below same)).
    destruct (source i) as [k|] eqn:same.
    - symmetry. rewrite (sum_only inner _ k); [rewrite Nat.eqb_refl; ring | apply (each i k below same) |].
      intros j _ other. destruct (Nat.eqb_spec k j); [congruence | ring].
    - symmetry. rewrite sum_zero; [ring|]. intros j _. ring. }
  rewrite sum_swap. unfold square, dot. rewrite <- sum_scal. apply sum_le; intros k below. rewrite sum_scal.
  assert (sum out (fun i => match source i with Some l => if Nat.eqb l k then 1 else 0 | None => 0 end) <= Q2R s).
  { eapply Rle_trans; [apply (copies_counted out source (copies k)); intros i Hi same; apply (each i k Hi same)|].
    apply (all_below_each _ _ k) in counts; [|exact below]. cbv beta in counts. apply Qle_bool_iff, Qle_Rle in counts.
    rewrite Q2R_of_nat in counts. exact counts. }
  pose proof (Rle_0_sqr (x k)). unfold Rsqr in *. nra.
Qed.

Lemma entries_prove_sound n factor s :
  entries_prove n factor s = true -> bounded n n (matrix (Scaling n factor)) (Q2R s).
Proof.
  intros holds x. unfold square, dot. rewrite <- sum_scal. apply sum_le; intros i below.
  apply (all_below_each _ _ i) in holds; [|exact below]. cbv beta in holds. apply Z.leb_le in holds. apply IZR_le in holds.
  rewrite mult_IZR in holds.
  pose proof (floor_over_below s (exponent factor)) as top. pose proof (power_square_pos (exponent factor)).
  assert (apply n (matrix (Scaling n factor)) x i = IZR (mantissa factor i) * powerRZ 2 (exponent factor) * x i) as ->.
  { unfold apply, dot, matrix. simpl. rewrite (sum_only n _ i below); [rewrite Nat.eqb_refl; reflexivity|].
    intros j _ other. destruct (Nat.eqb_spec i j); [congruence | ring]. }
  set (f := IZR (mantissa factor i)) in *. set (p := powerRZ 2 (exponent factor)) in *.
  assert (f * f * p ^ 2 <= Q2R s).
  { eapply Rle_trans; [|exact top]. apply Rmult_le_compat_r; [lra | exact holds]. }
  pose proof (Rle_0_sqr (x i)). unfold Rsqr in *. nra.
Qed.

(** The matrix of a composition acts as one map after the other. *)
Lemma apply_compose outer inner x i :
  apply (columns inner) (matrix (Compose outer inner)) x i
  = apply (columns outer) (matrix outer) (apply (columns inner) (matrix inner) x) i.
Proof.
  unfold apply, dot, matrix at 1. simpl. rewrite powerRZ_add by lra.
  rewrite (sum_ext (columns inner) _ (fun j => sum (columns outer) (fun k =>
    IZR (entry outer i k) * powerRZ 2 (scale outer) * (IZR (entry inner k j) * powerRZ 2 (scale inner) * x j)))).
  - rewrite sum_swap. apply sum_ext; intros k _. unfold matrix. rewrite <- sum_scal.
    apply sum_ext; intros j _. ring.
  - intros j _. rewrite zsum_real, <- sum_scal_r, <- sum_scal_r. apply sum_ext; intros k _.
    rewrite mult_IZR. ring.
Qed.

Theorem proves_sound e l s : proves l e s = true -> bounded (columns l) (rows l) (matrix l) (Q2R s).
Proof.
  revert l s. induction e as [of_rows a b factor | copies | | outer IHouter t inner IHinner u]; intros l s holds;
    destruct l as [before out inn after w | c | out inn source | n factor' | of | p q];
    cbn [proves] in holds; apply andb_prop in holds as [nonneg holds]; try discriminate holds;
    try (apply (gram_proves_sound _ of_rows a b factor); assumption).
  - apply copies_prove_sound with (copies := copies). exact holds.
  - apply entries_prove_sound. exact holds.
  - apply andb_prop in holds as [holds product]. apply andb_prop in holds as [holds known_inner].
    apply andb_prop in holds as [fits known_outer]. apply Nat.eqb_eq in fits.
    assert (0 <= Q2R t) as Ht.
    { destruct outer, p; cbn [proves] in known_outer; apply andb_prop in known_outer as [positive _];
        apply Qle_bool_iff, Qle_Rle in positive; rewrite RMicromega.Q2R_0 in positive; exact positive. }
    apply IHouter in known_outer. apply IHinner in known_inner.
    apply Qle_bool_iff, Qle_Rle in product. rewrite Q2R_mult in product.
    intros x. change (columns (Compose p q)) with (columns q). change (rows (Compose p q)) with (rows p).
    rewrite (square_ext (rows p) _ _ (fun i _ => apply_compose p q x i)).
    eapply Rle_trans; [apply known_outer|]. rewrite fits. specialize (known_inner x).
    pose proof (square_nonneg (columns q) x). nra.
Qed.

(** Every row's square is at most s. *)
Theorem rows_prove_sound l s i :
  rows_prove l s = true -> (i < rows l)%nat -> square (columns l) (matrix l i) <= Q2R s.
Proof.
  intros holds below. apply (all_below_each _ _ i) in holds; [|exact below]. cbv beta in holds. apply Z.leb_le, IZR_le in holds.
  rewrite zsum_real in holds. pose proof (floor_over_below s (scale l)). pose proof (power_square_pos (scale l)).
  unfold square, dot, matrix.
  rewrite (sum_ext _ _ (fun j => IZR (entry l i j * entry l i j) * powerRZ 2 (scale l) ^ 2))
    by (intros j _; rewrite mult_IZR; ring).
  rewrite sum_scal_r. nra.
Qed.
